"""The figures of arXiv 2303.03714, of a user's own run: functions from a model and arrays to pictures and numbers.

    python main.py --mode=figures --workdir=runs/digits --figures=fig4,fig5

`write_figures` draws them all into files. The functions return pictures, uint8 [height, width, 3], with a title and a
caption, and where there are numbers, the numbers.
"""

from fdrl_jax.figures.animation import frame_interval as frame_interval
from fdrl_jax.figures.animation import image_frames as image_frames
from fdrl_jax.figures.animation import point_frames as point_frames
from fdrl_jax.figures.animation import write_animation as write_animation
from fdrl_jax.figures.distances import nearest as nearest
from fdrl_jax.figures.draw import DEFAULT_NUM_SAMPLES as DEFAULT_NUM_SAMPLES
from fdrl_jax.figures.draw import FIGURES as FIGURES
from fdrl_jax.figures.draw import write_figures as write_figures
from fdrl_jax.figures.flow_length import Curve as Curve
from fdrl_jax.figures.flow_length import Interval as Interval
from fdrl_jax.figures.flow_length import default_lengths as default_lengths
from fdrl_jax.figures.flow_length import flow_length_curve as flow_length_curve
from fdrl_jax.figures.flow_length import flow_length_curves as flow_length_curves
from fdrl_jax.figures.flow_length import flow_length_picture as flow_length_picture
from fdrl_jax.figures.flow_length import image_metrics as image_metrics
from fdrl_jax.figures.flow_length import point_metrics as point_metrics
from fdrl_jax.figures.grids import flow_rows as flow_rows
from fdrl_jax.figures.grids import prior_and_samples as prior_and_samples
from fdrl_jax.figures.grids import uncurated as uncurated
from fdrl_jax.figures.interpolation import interpolation_picture as interpolation_picture
from fdrl_jax.figures.neighbours import Memorisation as Memorisation
from fdrl_jax.figures.neighbours import distances_picture as distances_picture
from fdrl_jax.figures.neighbours import memorisation as memorisation
from fdrl_jax.figures.neighbours import neighbours_picture as neighbours_picture
from fdrl_jax.figures.plane import flow_panels as flow_panels
from fdrl_jax.figures.plane import ratio_map as ratio_map
from fdrl_jax.figures.plane import samples_beside_data as samples_beside_data
from fdrl_jax.figures.plane import training_panels as training_panels
from fdrl_jax.figures.table import fids as fids
from fdrl_jax.figures.table import read_evaluation as read_evaluation
from fdrl_jax.figures.table import table1 as table1
from fdrl_jax.figures.table import table1_picture as table1_picture
