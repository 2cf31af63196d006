"""MIRAS's own front (ACL 2025): CLIP and ConvNeXt fused patch by patch, a connector, and a Llama that talks."""
