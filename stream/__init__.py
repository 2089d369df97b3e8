"""The worker: events in, adapted recommendations out."""
