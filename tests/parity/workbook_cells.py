"""Prints the cells of a workbook's first sheet, as read by openpyxl: JSON, a list of rows.

    workbook_cells.py FILE
"""

import json
import re
import sys

from openpyxl import load_workbook

sheet = load_workbook(sys.argv[1]).worksheets[0]


def plain(value):
    # Excel writes control characters as _x0008_; not every version of openpyxl decodes them.
    return re.sub("_x([0-9A-Fa-f]{4})_", lambda m: chr(int(m[1], 16)), value) if isinstance(value, str) else value


json.dump([[plain(cell) for cell in row] for row in sheet.iter_rows(values_only=True)], sys.stdout)
