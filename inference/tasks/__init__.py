"""Uses of a trained pair: imputation, anomaly detection, classification, compression, representation, text."""
