"""Record batches: from bytes to committed records, whatever is wrong with them."""
