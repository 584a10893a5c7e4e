#include "collectives/exchange.h"

#include <cstring>

namespace rf::exchange {

void alltoallv(Group& group, const char* in, const std::vector<size_t>& in_begin, char* out,
               const std::vector<size_t>& out_begin) {
  const size_t p = static_cast<size_t>(group.size()), me = static_cast<size_t>(group.rank());
  const size_t own = in_begin[me + 1] - in_begin[me];
  if (own > 0) std::memcpy(out + out_begin[me], in + in_begin[me], own);
  for (size_t step = 1; step < p; ++step) {
    const size_t to = (me + step) % p, from = (me + p - step) % p;
    Requests requests(group);
    requests.receive_all(static_cast<int>(from), out + out_begin[from], out_begin[from + 1] - out_begin[from]);
    requests.send_all(static_cast<int>(to), in + in_begin[to], in_begin[to + 1] - in_begin[to]);
    requests.wait_all();
  }
}

void reduce_scatter(Group& group, char* data, const std::vector<size_t>& begin, DType dtype, Reduction reduction) {
  const size_t p = static_cast<size_t>(group.size()), me = static_cast<size_t>(group.rank());
  const size_t bytes = begin[me + 1] - begin[me];
  std::unique_ptr<char[]> room(new char[(p - 1) * bytes + 1]);
  std::vector<const void*> sources(p);
  sources[me] = data + begin[me];
  for (size_t step = 1; step < p; ++step) {
    const size_t to = (me + step) % p, from = (me + p - step) % p;
    char* place = room.get() + (step - 1) * bytes;
    sources[from] = place;
    Requests requests(group);
    requests.receive_all(static_cast<int>(from), place, bytes);
    requests.send_all(static_cast<int>(to), data + begin[to], begin[to + 1] - begin[to]);
    requests.wait_all();
  }
  // In place although the own chunk may be any source: 16-bit floats are widened block by block before the result is
  // written. For other types only source 0 or 1 may be the output.
  check(dtype == DType::Half || dtype == DType::BFloat16, "[reduce_scatter] pairwise exchange is for 16-bit floats");
  reduce(dtype, reduction, data + begin[me], sources.data(), static_cast<int>(p),
         static_cast<int64_t>(bytes / size_of(dtype)));
}

}  // namespace rf::exchange
