enum StackPlaceholder {}
