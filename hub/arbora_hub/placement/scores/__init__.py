"""What makes one child better than another, 0 to 100 per dimension. Registered in `registry.py`.

The five default dimensions and their formulas are of the research notes on Kurator, section 1.3.
"""
