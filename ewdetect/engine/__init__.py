"""The only place that knows DuckDB: flows in, rules in, alerts with evidence out."""

from ewdetect.engine.engine import Engine, Settings
from ewdetect.engine.flow import Orientation
from ewdetect.engine.report import DAMAGE, ReadReport

__all__ = ["DAMAGE", "Engine", "Orientation", "ReadReport", "Settings"]
