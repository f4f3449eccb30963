"""The only place that knows DuckDB: flows in, rules in, alerts with evidence out."""

from ewdetect.engine.cases import open_flows
from ewdetect.engine.engine import Engine, Settings
from ewdetect.engine.report import DAMAGE, ReadReport

__all__ = ["DAMAGE", "Engine", "ReadReport", "Settings", "open_flows"]
