// Matrix products on the register tiles of tile.h: c = a b, or c += a b, for any strides of a and b.
//
// Blocks of k, rows and panels of columns, as in Goto & van de Geijn, with two differences that pay where one side
// is short. Rows of a are copied as they lie, not rearranged, b is packed a panel at a time just before it is read, and
// neither where few would read the copy. And what is read for the first time soon is fetched ahead by the tiles
// themselves, one cache line for each step of k, because lines that lie a row of a large matrix apart are foreseen by
// no processor.
// How k is cut depends on k alone. Thread-safe: packing buffers belong to the calling thread.
// Source: Goto, van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34 (2008); Frison et al.,
// "BLASFEO", ACM TOMS 44 (2018) for products that do not pack.
#pragma once

#include "kernels/tile.h"

namespace rf {

template <class T>
struct Product {
  int64_t m, n, k;
  const T* a;
  int64_t a_row, a_step;  // a[i, p] = a[i * a_row + p * a_step]; one of them is 1
  const T* b;
  int64_t b_row, b_column;  // one of them is 1
  T* c;
  int64_t ldc;
  bool add;
};

// k in one pass: for products of few multiply-adds.
template <class T>
void multiply_small(const TileSet<T>& set, const Product<T>& product);

template <class T>
void multiply_blocked(const TileSet<T>& set, const Product<T>& product);

}  // namespace rf
