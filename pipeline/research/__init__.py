"""What makes and judges signatures: training, evaluation, change over treatment, the paper's tables again.

Nothing that receives, predicts or reports imports this room. Its libraries are the extra `research`.
"""
