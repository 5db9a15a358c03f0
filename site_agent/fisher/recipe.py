"""What a new space fixes about Fisher sketches, given its network."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from federation.sketches.fisher_parameters import Estimator, FisherParameters, Granularity, Head
from site_agent.extractors import Extractor
from site_agent.fisher.layers import PUBLISHED, LayerChoice, layout_of
from site_agent.fisher.public_rule import by_public_images

_SCALE_BITS: dict[Estimator, int] = {"montecarlo": 40, "variational": 16}


@dataclass(frozen=True)
class FisherRecipe:
    """How Fisher information is estimated.

    Args:
        granularity: What is averaged, see `FisherParameters`.
        estimator: How it is estimated.
        layers: Which layers; None takes those that were published with the granularity.
        clip: Largest L2 norm of one image's numbers; 0 does not clip.
        head_decay: Weight decay of the linear head.
        seed: Seed of labels and noise.
        head: Which classifier, see `FisherParameters`. With any but a fitted one, clip (unless given), unit
            and scale of the head come from public images, so that the sketch can be released privately.
        head_share: What a private head may spend, see `FisherParameters`.
    """

    granularity: Granularity = "filter"
    estimator: Estimator = "montecarlo"
    layers: LayerChoice | None = None
    clip: float = 0.0
    head_decay: float = 0.1
    seed: int = 0
    head: Head = "fitted"
    head_share: float = 0.5

    def parameters(self, extractor: Extractor, public: Iterable[Tensor] = ()) -> FisherParameters:
        """Return the parameters for a network.

        Args:
            extractor: The network.
            public: uint8 [N, 3, S, S], images that belong to no site; not looked at for a fitted head.

        Raises:
            ExtractorError: If the network has no such layers.
            SpaceError: If the choices contradict each other, or public images are missing.
        """
        chosen = self._choices(extractor)
        return chosen if self.head == "fitted" else by_public_images(chosen, extractor, public)

    def is_followed_by(self, parameters: FisherParameters, extractor: Extractor) -> bool:
        """Return whether parameters are what this recipe gives, whatever public images decided."""
        expected = self._choices(extractor)
        if self.head != "fitted":
            clip = self.clip or parameters.clip
            found = {name: getattr(parameters, name) for name in ("head_scale", "head_centre", "scale_bits")}
            expected = replace(expected, clip=clip, **found)
        return expected == parameters

    def _choices(self, extractor: Extractor) -> FisherParameters:
        choice = self.layers or PUBLISHED[self.granularity]
        size = extractor.identity.transform.image_size
        return FisherParameters(
            layout_of(extractor.differentiable, choice, self.granularity, size),
            self.granularity,
            self.estimator,
            _SCALE_BITS[self.estimator],
            self.clip,
            self.head_decay,
            self.seed,
            self.head,
            head_share=self.head_share,
        )
