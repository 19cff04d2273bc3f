"""A report in a table of a lakehouse, each interval once: what tables of all formats have in common.

``table`` is what a format has to do. No format's library is known here.
"""
