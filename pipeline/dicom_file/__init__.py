"""Reading DICOM files from outside: bounded memory and time, damaged values reported by kind and never quoted."""
