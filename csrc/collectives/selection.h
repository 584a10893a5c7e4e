// Which allreduce algorithm a message of so many bytes takes: a table, built in or measured (set_selection).
//
// Every rank must hold the same table; the collectives' signatures carry the choice, so that ranks that differ get an
// error. RINGFLOW_ALLREDUCE and the `algorithm` argument of a call come before the table.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rf {

enum class Algorithm { Auto, OnePass, Ring, HalvingDoubling, Tree, Hierarchical };
// "auto", "one_pass", "ring", "halving_doubling", "tree", "hierarchical"; InvalidArgument otherwise
Algorithm algorithm_of(const std::string& name);
const char* name_of(Algorithm algorithm);

class Selection {
 public:
  struct Row {
    size_t up_to_bytes;  // inclusive; the last row also serves everything above
    Algorithm algorithm;
  };
  // Rows in ascending order of bytes.
  explicit Selection(std::vector<Row> rows);
  // Start values until somebody measures. `carriers`: ranks of each node that share memory, 0 where none does.
  static Selection built_in(int ranks, int nodes, int carriers);

  Algorithm choose(size_t bytes) const;
  const std::vector<Row>& rows() const { return rows_; }

 private:
  std::vector<Row> rows_;
};

}  // namespace rf
