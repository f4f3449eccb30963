"""An executor of SPL, Splunk's search language, for tests.

Written from Splunk's documentation and from nothing else, so that it can judge what the converter prints. What the
documentation leaves open raises `Undocumented`, what Splunk would cut raises `SplunkLimit`, what is not implemented
raises `UnknownSpl`: a result that comes back is one that Splunk's documentation promises.
"""

from __future__ import annotations

from tests.engines.spl.context import Captured, DataModel, Lookup
from tests.engines.spl.datamodels import network_traffic
from tests.engines.spl.errors import Refused, SplError, SplSyntaxError, SplunkLimit, Undocumented, UnknownSpl
from tests.engines.spl.limits import Limits
from tests.engines.spl.macros import Macro
from tests.engines.spl.parse import parse
from tests.engines.spl.run import run

__all__ = ["Captured", "DataModel", "Limits", "Lookup", "Macro", "Refused", "SplError", "SplSyntaxError",
           "SplunkLimit", "Undocumented", "UnknownSpl", "network_traffic", "parse", "run"]
