"""What a process tells of itself and its fleet over HTTP: /metrics, /healthz, /readyz, and a page for people."""
