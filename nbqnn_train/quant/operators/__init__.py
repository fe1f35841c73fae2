"""Operations of a quantized network without weights, each whole in one file."""
