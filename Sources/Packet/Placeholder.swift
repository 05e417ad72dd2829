enum PacketPlaceholder {}
