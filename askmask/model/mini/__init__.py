"""`mini`, the embedded small back-end: own encoder, image-aware prompt encoder, mask decoder; no pretraining."""
