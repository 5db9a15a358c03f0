"""How a job is told in the log."""

import contextlib
from collections.abc import Iterator

from aggregator.store import Catalogue, CatalogueWriter
from federation.errors import FedprintError, StoreError
from federation.log.kinds import JOB_BEGUN, JOB_FINISHED
from federation.messages import DONE


@contextlib.contextmanager
def recorded_job(catalogue: Catalogue, job_id: str, job: str) -> Iterator[None]:
    """Tell that a job begins, and with which code it ends where it raises.

    A job that comes to a good end says so itself by ``tell_finished``, with what it found. One that dies says
    nothing: it is begun again.

    Args:
        catalogue: Where the log is.
        job_id: Id of the job.
        job: What kind of job it is.
    """
    with catalogue.writing() as writer:
        writer.add_event(JOB_BEGUN, job_id, job=job)
    try:
        yield
    except Exception as error:
        code = error.code if isinstance(error, FedprintError) else FedprintError.code
        with contextlib.suppress(StoreError), catalogue.writing() as writer:
            tell_finished(writer, job_id, job, code)
        raise


def tell_finished(writer: CatalogueWriter, job_id: str, job: str, code: str = DONE) -> None:
    """Tell that a job came to its end, in the transaction of what it found."""
    writer.add_event(JOB_FINISHED, job_id, job=job, code=code)
