{{- define "hub.guard" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: ["ALL"]
volumeMounts:
  - name: data
    mountPath: /var/lib/fedprint
  - name: tmp
    mountPath: /tmp
{{- end -}}

{{- define "hub.password" -}}
{{- if .Values.database.passwordSecret.name -}}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.passwordSecret.name }}
      key: {{ .Values.database.passwordSecret.key }}
{{- end -}}
{{- end -}}
