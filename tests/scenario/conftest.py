"""How many stories are made up: few and always the same by default, many and new ones with HYPOTHESIS_PROFILE=nightly."""

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "scenario",
    max_examples=25,
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # to make a story shorter takes minutes
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(
    "nightly",
    settings.get_profile("scenario"),
    max_examples=1000,
    derandomize=False,
    print_blob=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
settings.load_profile("nightly" if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else "scenario")
