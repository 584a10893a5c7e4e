#include "runtime/executor.h"

#include <utility>

#include "runtime/dataflow.h"
#include "runtime/dataflow_plan.h"
#include "runtime/straight_line.h"

namespace rf {
namespace {

std::unique_ptr<Schedule> make_schedule(GraphDef graph, std::shared_ptr<Resources> resources,
                                        std::shared_ptr<InterOpPool> pool) {
  if (needs_dataflow(graph.nodes))
    return std::make_unique<Dataflow>(std::move(graph), std::move(resources), std::move(pool));
  return std::make_unique<StraightLine>(std::move(graph), std::move(resources));
}

}  // namespace

Executable::Executable(const void* graph_def, size_t bytes, std::shared_ptr<Resources> resources,
                       std::shared_ptr<InterOpPool> pool)
    : Executable(parse_graph(graph_def, bytes), std::move(resources), std::move(pool)) {}

Executable::Executable(GraphDef graph, std::shared_ptr<Resources> resources, std::shared_ptr<InterOpPool> pool)
    : schedule_(make_schedule(std::move(graph), std::move(resources), std::move(pool))) {}

}  // namespace rf
