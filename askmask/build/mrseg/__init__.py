"""MRSeg: conversations over one picture, made of ten annotated sets by the rules of the SegLLM paper and a few more."""
