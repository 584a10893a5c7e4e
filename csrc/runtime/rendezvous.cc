#include "runtime/rendezvous.h"

#include <cinttypes>
#include <cstdio>
#include <utility>
#include <vector>

namespace rf {

void Rendezvous::send(const std::string& key, Parcel parcel) {
  Receiver receiver;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (error_) return;
    Slot& slot = slots_[key];
    if (slot.sent) fail(Code::AlreadyExists, "[_Send] a key is sent once in a run: '", key, "' was sent before");
    slot.sent = true;
    if (!slot.taken) {
      slot.parcel = std::move(parcel);
      return;
    }
    receiver = std::move(slot.receiver);
    slot.receiver = nullptr;
  }
  if (receiver) receiver(std::move(parcel), nullptr);
}

void Rendezvous::receive(const std::string& key, Receiver receiver) {
  Parcel parcel;
  std::exception_ptr error;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto it = slots_.find(key);
    if (error_ && (it == slots_.end() || it->second.taken)) {
      error = error_;
    } else {
      Slot& slot = it == slots_.end() ? slots_[key] : it->second;
      if (slot.taken) fail(Code::AlreadyExists, "[_Recv] a key is received once in a run: '", key, "' was taken before");
      slot.taken = true;
      if (!slot.sent) {
        slot.receiver = std::move(receiver);
        return;
      }
      parcel = std::move(slot.parcel);
    }
  }
  receiver(std::move(parcel), error);
}

bool Rendezvous::forget(const std::string& key) {
  Receiver dropped;  // destroyed without the lock
  std::lock_guard<std::mutex> lock(mutex_);
  const auto it = slots_.find(key);
  if (it == slots_.end() || !it->second.receiver) return false;
  dropped.swap(it->second.receiver);
  return true;
}

void Rendezvous::abort(std::exception_ptr error) { stop(std::move(error), false); }

void Rendezvous::end(std::exception_ptr error) { stop(std::move(error), true); }

void Rendezvous::stop(std::exception_ptr error, bool keep_sent) {
  std::map<std::string, Slot> slots;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (error_) return;
    error_ = error;
    slots.swap(slots_);
    for (auto it = slots.begin(); keep_sent && it != slots.end();) {
      const auto slot = it++;
      if (slot->second.sent && !slot->second.taken) slots_.insert(slots.extract(slot));
    }
  }
  for (auto& entry : slots)
    if (entry.second.receiver) entry.second.receiver({}, error);
}

std::string rendezvous_key(const Node& node) {
  char incarnation[17];
  std::snprintf(incarnation, sizeof incarnation, "%016" PRIx64,
                static_cast<uint64_t>(node.attr<int64_t>("send_device_incarnation", 0)));
  return node.attr<std::string>("send_device") + ';' + incarnation + ';' + node.attr<std::string>("recv_device") + ';' +
         node.attr<std::string>("tensor_name") + ';';
}

}  // namespace rf
