enum AdapterPlaceholder {}
