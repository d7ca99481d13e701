"""The science: pure steps on frozen records, from DICOM files to a study result."""
