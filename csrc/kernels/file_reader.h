// Readers (TextLineReaderV2, ...): resources that turn a queue of file names into a stream of (key, record).
//
// A read holds no thread while it waits for a name. Reads of one reader take turns, in the order in which they came, and
// a read holds its turn until it has its records: they come from one file after the other, each once.
// Threading: everything may be called from any thread. Source: TensorFlow's ReaderBase.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/queue.h"

namespace rf {

class FileReader : public Waiting {
 public:
  FileReader(std::string kind, std::string name) : Waiting(1), kind_(std::move(kind)), name_(std::move(name)) {}

  struct Records {
    std::vector<std::string> keys, values;
  };
  using Take = std::function<void(Records)>;
  // Hands 1 to `count` records of one file to `take`; takes names of files from `queue` as needed. Ends with the queue's
  // error where it has no more, with the file's where it cannot be read. `count` >= 1.
  void read(int64_t count, std::shared_ptr<Queue> queue, Cancellation& cancellation, Take take, Done done);

  int64_t records_produced() const;
  int64_t work_units_completed() const;
  // As new: the file it is in is left.
  void reset();
  // Its state as TensorFlow's ReaderBaseState; Unimplemented where it is inside a file.
  std::string serialize() const;
  void restore(const std::string& state);

  const std::string& kind() const { return kind_; }

 protected:
  // One file, or whatever the name stands for. Under a lock.
  virtual void open(const std::string& work) = 0;
  // False at its end.
  virtual bool next(const std::string& work, std::string* key, std::string* value) = 0;
  virtual void leave() = 0;
  // Whether the base's state is all there is.
  virtual bool can_serialize() const { return false; }

 private:
  struct Turn;
  struct Call;

  // Records of the file that is open, up to `count` of them in all; false where another file is needed first.
  bool advance(int64_t count, Records& records);
  void start_work(const std::string& work);
  void end_turn();

  const std::string kind_, name_;
  bool taken_ = false;  // the turn; under mutex_

  mutable std::mutex state_;  // of what follows, and of the file
  std::string work_;
  bool in_work_ = false;
  int64_t started_ = 0, finished_ = 0, produced_ = 0;
};

}  // namespace rf
