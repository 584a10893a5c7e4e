#include "kernels/file_reader.h"

#include <atomic>
#include <utility>

#include "base/protobuf.h"

namespace rf {

struct FileReader::Turn : Attempt {
  explicit Turn(FileReader& reader) : reader(reader) {}
  Step step() override {
    if (reader.taken_) return Step::Waits;
    reader.taken_ = true;
    return Step::Done;
  }
  FileReader& reader;
};

// One read, from its turn on.
struct FileReader::Call : std::enable_shared_from_this<Call> {
  std::shared_ptr<FileReader> reader;
  std::shared_ptr<Queue> queue;
  Cancellation& cancellation;
  int64_t count;
  Take take;
  Done done;
  Records records;
  std::string work;
  std::exception_ptr error;

  Call(std::shared_ptr<FileReader> reader, std::shared_ptr<Queue> queue, Cancellation& cancellation, int64_t count, Take take,
       Done done)
      : reader(std::move(reader)), queue(std::move(queue)), cancellation(cancellation), count(count), take(std::move(take)),
        done(std::move(done)) {}

  void run() {
    try {
      while (!reader->advance(count, records)) {
        if (!have_work()) return;  // the queue will call again
        if (error) return end();
        reader->start_work(work);
      }
      take(std::move(records));
    } catch (...) {
      error = std::current_exception();
    }
    end();
  }

  // Asks the queue for a name. False where it has none yet; it then runs the rest of the call when it has.
  bool have_work() {
    auto met = std::make_shared<std::atomic<bool>>(false);  // set by the first of: the answer, the end of the question
    queue->dequeue(1, false, {cancellation, -1, "Dequeue operation"},
                   [call = shared_from_this()](std::vector<Element> elements) {
                     call->work = elements[0].components[0].scalar<std::string>();
                   },
                   [call = shared_from_this(), met](std::exception_ptr e) {
                     call->error = e;
                     if (met->exchange(true)) call->resume();
                   });
    return met->exchange(true);
  }

  void resume() {
    if (error) return end();
    try {
      reader->start_work(work);
    } catch (...) {
      error = std::current_exception();
      return end();
    }
    run();
  }

  void end() {
    done(error);
    reader->end_turn();
  }
};

void FileReader::read(int64_t count, std::shared_ptr<Queue> queue, Cancellation& cancellation, Take take, Done done) {
  auto self = std::static_pointer_cast<FileReader>(shared_from_this());
  auto call = std::make_shared<Call>(self, std::move(queue), cancellation, count, std::move(take), std::move(done));
  start(0, std::make_shared<Turn>(*this), {cancellation, -1, "Read operation"}, [call](std::exception_ptr e) {
    if (e)
      call->done(e);  // it never had the turn
    else
      call->run();
  });
}

void FileReader::end_turn() {
  change([&](std::vector<std::shared_ptr<Attempt>>&) { taken_ = false; });
}

bool FileReader::advance(int64_t count, Records& records) {
  std::lock_guard<std::mutex> lock(state_);
  if (!in_work_) return false;
  std::string key, value;
  while (static_cast<int64_t>(records.keys.size()) < count) {
    bool more = false;
    try {
      more = next(work_, &key, &value);
    } catch (...) {  // nothing more comes out of a damaged file
      in_work_ = false;
      leave();
      throw;
    }
    if (!more) {
      in_work_ = false;
      finished_ = started_;
      leave();
      break;
    }
    records.keys.push_back(std::move(key));
    records.values.push_back(std::move(value));
    ++produced_;
  }
  return !records.keys.empty();
}

void FileReader::start_work(const std::string& work) {
  std::lock_guard<std::mutex> lock(state_);
  ++started_;
  open(work);
  work_ = work;
  in_work_ = true;
}

int64_t FileReader::records_produced() const {
  std::lock_guard<std::mutex> lock(state_);
  return produced_;
}

int64_t FileReader::work_units_completed() const {
  std::lock_guard<std::mutex> lock(state_);
  return finished_;
}

void FileReader::reset() {
  std::lock_guard<std::mutex> lock(state_);
  if (in_work_) leave();
  in_work_ = false;
  work_.clear();
  started_ = finished_ = produced_ = 0;
}

std::string FileReader::serialize() const {
  std::lock_guard<std::mutex> lock(state_);
  if (!can_serialize())
    fail(Code::Unimplemented, "[", kind_, "] '", name_, "' cannot serialize its state.",
         " Fix: WholeFileReaderV2 and IdentityReaderV2 can");
  std::string state;
  proto::integer(state, 1, started_);
  proto::integer(state, 2, in_work_ ? finished_ : started_);
  proto::integer(state, 3, produced_);
  if (in_work_) proto::bytes(state, 4, work_);
  return state;
}

void FileReader::restore(const std::string& state) {
  std::lock_guard<std::mutex> lock(state_);
  if (!can_serialize())
    fail(Code::Unimplemented, "[", kind_, "] '", name_, "' cannot restore a state.",
         " Fix: WholeFileReaderV2 and IdentityReaderV2 can");
  int64_t started = 0, finished = 0, produced = 0;
  std::string work;
  try {
    for (Reader r(state, "ReaderBaseState", 64, "ReaderRestoreState"); r.next();) switch (r.tag()) {
        case tag(1, Wire::Varint): started = r.integer(); break;
        case tag(2, Wire::Varint): finished = r.integer(); break;
        case tag(3, Wire::Varint): produced = r.integer(); break;
        case tag(4, Wire::Bytes): work = r.string(); break;
        default: r.skip();
      }
  } catch (const Error& e) {
    fail(Code::InvalidArgument, e.what());
  }
  check(finished >= 0 && finished <= started && started - finished <= 1 && produced >= 0,
        "[ReaderRestoreState] a state must have counts that fit: got ", started, " begun, ", finished, " finished, ", produced,
        " produced");
  if (in_work_) leave();
  started_ = started;
  finished_ = finished;
  produced_ = produced;
  work_ = work;
  in_work_ = started > finished;
  if (in_work_) open(work_);
}

}  // namespace rf
