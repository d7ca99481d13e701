"""The tumour's microenvironment: radiomic features beside genes, immune cells, lncRNAs and methylated sites."""
