"""The version whose signatures are offered, and who offers them."""

VERSION = "1.61.0+trainwright"
