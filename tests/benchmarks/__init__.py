"""Duck beside nginx, gunicorn and granian. The method: docs/explanation/performance.md."""
