"""What vendors write each in their own way: Siemens' CSA header, tiled images and b-values."""
