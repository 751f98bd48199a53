"""IterMask3D: unsupervised anomaly detection and segmentation in brain MRI by iterative mask refinement."""

__version__ = "0.1.0"
