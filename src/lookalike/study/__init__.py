"""The study: do generated images help, measured over arms, amounts of images and seeds."""
