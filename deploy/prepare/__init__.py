"""What a fleet's services need before its first worker: `python -m deploy.prepare kafka schemas claims`."""
