"""Encoders: transformations of raw observations to network inputs."""

ENCODERS = {
    "identity": "rlcl.encoders.identity:Identity",
    "flatten": "rlcl.encoders.flatten:Flatten",
    "scale": "rlcl.encoders.scale:Scale",
    "standardize": "rlcl.encoders.standardize:Standardize",
    "impute": "rlcl.encoders.impute:Impute",
    "robust": "rlcl.encoders.robust:Robust",
    "quantile": "rlcl.encoders.quantile:Quantile",
    "ordinal": "rlcl.encoders.ordinal:Ordinal",
    "one_hot": "rlcl.encoders.one_hot:OneHot",
    "columns": "rlcl.encoders.columns:Columns",
    "sklearn": "rlcl.encoders.sklearn:Sklearn",
    "pca": "rlcl.encoders.pca:Pca",
    "random_fourier": "rlcl.encoders.random_fourier:RandomFourier",
    "task_one_hot": "rlcl.encoders.task_one_hot:TaskOneHot",
    "channels_first": "rlcl.encoders.channels_first:ChannelsFirst",
    "grey_scale": "rlcl.encoders.grey_scale:GreyScale",
    "frame_stack": "rlcl.encoders.frame_stack:FrameStack",
    "running_norm": "rlcl.encoders.running_norm:RunningNorm",
    "backbone": "rlcl.encoders.backbone:Backbone",
    "trained": "rlcl.launch.trained_encoder:Trained",  # in the package that builds the learner that it loads
    "compose": "rlcl.encoders.compose:Compose",
}
