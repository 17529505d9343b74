"""In place of OpenTelemetry: what is deployed has none, and redis-py imports it at each start."""

raise ImportError("this process was not asked for traces")
