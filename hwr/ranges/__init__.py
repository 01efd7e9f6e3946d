"""Ranges of numbers that settings give: types that a configuration is checked against."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

Count = Annotated[int, Field(ge=1)]
Counts = Annotated[Sequence[Count], Field(min_length=1)]
Amount = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Steps = Annotated[Sequence[Count], Field(min_length=2, max_length=2)]  # down and across
Size = Annotated[Sequence[Positive], Field(min_length=2, max_length=2)]
Sizes = Annotated[Sequence[Size], Field(min_length=1)]
