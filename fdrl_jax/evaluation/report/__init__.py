"""HTML reports: one run as `report.html`, or several runs side by side as `compare.html`.

Each is one self-contained file that needs no network and has no script.
"""

from fdrl_jax.evaluation.report.comparison_page import write_comparison as write_comparison
from fdrl_jax.evaluation.report.report_page import write_report as write_report
