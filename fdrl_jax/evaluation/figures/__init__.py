"""The figures of arXiv 2303.03714, drawn for a user's own run.

    python main.py --mode=figures --workdir=runs/digits --figures=fig4,fig5

`write_figures` writes all of them to files. The other functions take a model and arrays, and return a picture, uint8
[height, width, 3], with a title and a caption, or the numbers behind it. There is one module for each figure:

    Fig. 2   flow of points             Fig. 8, 7    flow of images, and its animation
    Fig. 3   training on points         Fig. 9       interpolation
    Fig. 4   uncurated samples          Fig. 10      samples over data
    Fig. 5   metrics by flow length     Fig. 11      prior and samples
    Table 1  FID                        Fig. 12, 13  nearest training images
"""

from fdrl_jax.evaluation.figures.animation import frame_interval as frame_interval
from fdrl_jax.evaluation.figures.animation import image_frames as image_frames
from fdrl_jax.evaluation.figures.animation import point_frames as point_frames
from fdrl_jax.evaluation.figures.animation import write_animation as write_animation
from fdrl_jax.evaluation.figures.density_ratio_map import ratio_map as ratio_map
from fdrl_jax.evaluation.figures.fig2_flow_of_points import flow_panels as flow_panels
from fdrl_jax.evaluation.figures.fig3_training_on_points import training_panels as training_panels
from fdrl_jax.evaluation.figures.fig4_uncurated_samples import uncurated as uncurated
from fdrl_jax.evaluation.figures.fig5_metrics_by_flow_length import Curve as Curve
from fdrl_jax.evaluation.figures.fig5_metrics_by_flow_length import Interval as Interval
from fdrl_jax.evaluation.figures.fig5_metrics_by_flow_length import default_lengths as default_lengths
from fdrl_jax.evaluation.figures.fig5_metrics_by_flow_length import flow_length_curve as flow_length_curve
from fdrl_jax.evaluation.figures.fig5_metrics_by_flow_length import flow_length_curves as flow_length_curves
from fdrl_jax.evaluation.figures.fig5_metrics_by_flow_length import flow_length_picture as flow_length_picture
from fdrl_jax.evaluation.figures.fig5_metrics_by_flow_length import image_metrics as image_metrics
from fdrl_jax.evaluation.figures.fig5_metrics_by_flow_length import point_metrics as point_metrics
from fdrl_jax.evaluation.figures.fig8_flow_of_images import flow_rows as flow_rows
from fdrl_jax.evaluation.figures.fig9_interpolation import interpolation_picture as interpolation_picture
from fdrl_jax.evaluation.figures.fig10_samples_over_data import samples_beside_data as samples_beside_data
from fdrl_jax.evaluation.figures.fig11_prior_and_samples import prior_and_samples as prior_and_samples
from fdrl_jax.evaluation.figures.fig12_nearest_training_images import Memorisation as Memorisation
from fdrl_jax.evaluation.figures.fig12_nearest_training_images import distances_picture as distances_picture
from fdrl_jax.evaluation.figures.fig12_nearest_training_images import memorisation as memorisation
from fdrl_jax.evaluation.figures.fig12_nearest_training_images import neighbours_picture as neighbours_picture
from fdrl_jax.evaluation.figures.figure_files import DEFAULT_NUM_SAMPLES as DEFAULT_NUM_SAMPLES
from fdrl_jax.evaluation.figures.figure_files import FIGURES as FIGURES
from fdrl_jax.evaluation.figures.figure_files import write_figures as write_figures
from fdrl_jax.evaluation.figures.neighbour_search import nearest as nearest
from fdrl_jax.evaluation.figures.table1_fid import fids as fids
from fdrl_jax.evaluation.figures.table1_fid import read_evaluation as read_evaluation
from fdrl_jax.evaluation.figures.table1_fid import table1 as table1
from fdrl_jax.evaluation.figures.table1_fid import table1_picture as table1_picture
