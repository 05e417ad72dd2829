enum TunPlaceholder {}
