#if ADDRESS_SANITIZER
  // Only the package `Fuzz` defines this. Slabs are never freed while a pool lives, so that AddressSanitizer wouldn't see
  // the use of one that was given back: it is told of each.

  @_silgen_name("__asan_poison_memory_region")
  func poisonMemory(_ start: UnsafeRawPointer, _ count: Int)

  @_silgen_name("__asan_unpoison_memory_region")
  func unpoisonMemory(_ start: UnsafeRawPointer, _ count: Int)

  extension SlabPool {
    /// Whoever touches the slab or cell from now on ends the process.
    func poison(_ slab: UInt32) {
      if let base = unsafe bases[Int(slab)] { unsafe poisonMemory(base, size(of: slab)) }
    }

    func unpoison(_ slab: UInt32) {
      if let base = unsafe bases[Int(slab)] { unsafe unpoisonMemory(base, size(of: slab)) }
    }

    private func size(of slab: UInt32) -> Int { slab < limit ? slabSize : Self.cellSize }
  }
#endif
