"""What a trained pair is used for: imputation, anomaly detection, classification, compression, text."""
