// The formats of csrc/io: checksums, files, tables, slices, bundles; and damaged bytes of each, which must end in an Error.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>

#include "base/crc32c.h"
#include "io/bundle.h"
#include "io/bundle_index.h"
#include "io/example.h"
#include "io/file.h"
#include "io/table.h"
#include "tests/check.h"
#include "tests/graph_writer.h"

using namespace rf;
using namespace rf::test;

namespace {

struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/ringflow-io-XXXXXX";
    path = mkdtemp(name);
  }
  ~Folder() {
    for (const std::string& file : matching_files(path + "/*")) ::unlink(file.c_str());
    remove_empty_folder(path);
  }
};

std::string random_bytes(std::mt19937& random, size_t n) {
  std::string s(n, '\0');
  for (char& c : s) c = static_cast<char>(random());
  return s;
}

// In place and without fsync: thousands of damaged files.
void overwrite(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

Tensor floats(const Shape& shape, float first) {
  Tensor t(DType::Float, shape);
  for (int64_t i = 0; i < t.num_elements(); ++i) t.data<float>()[i] = first + static_cast<float>(i);
  return t;
}

void crc32c_gives_the_published_values_by_instruction_and_by_table() {
  // RFC 3720, B.4
  std::string zeros(32, '\0'), ones(32, '\xff'), ascending;
  for (int i = 0; i < 32; ++i) ascending += static_cast<char>(i);
  const std::pair<std::string, uint32_t> published[] = {
      {zeros, 0x8a9136aa}, {ones, 0x62a8ab43}, {ascending, 0x46dd794e}, {"123456789", 0xe3069283}, {"", 0}};
  for (const auto& [bytes, crc] : published) {
    CHECK(crc32c(bytes.data(), bytes.size()) == crc);
    CHECK(crc32c_portable(bytes.data(), bytes.size()) == crc);
  }
  std::mt19937 random(1);
  const std::string data = random_bytes(random, 70000);
  for (size_t n = 0; n < data.size(); n = n < 300 ? n + 1 : n + 1 + random() % 4000) {
    const size_t at = random() % (data.size() - n), half = n ? random() % n : 0;
    const uint32_t crc = crc32c_portable(data.data() + at, n);
    CHECK(crc32c(data.data() + at, n) == crc);
    CHECK(crc32c(data.data() + at + half, n - half, crc32c(data.data() + at, half)) == crc);
    CHECK(unmask_crc(mask_crc(crc)) == crc);
  }
}

void a_file_is_there_wholly_or_not_at_all() {
  const Folder folder;
  const std::string path = folder.path + "/f";
  write_file(path, "old");
  {
    OutputFile unfinished(path);
    unfinished.append(std::string(1 << 20, 'x'));
    CHECK(read_file(path) == "old");
    CHECK(matching_files(folder.path + "/*").size() == 2);
  }
  CHECK(read_file(path) == "old");
  CHECK(matching_files(folder.path + "/*") == std::vector<std::string>{path});
  write_file(path, "new");
  CHECK(read_file(path) == "new");
}

void errors_of_the_system_name_the_file() {
  const Folder folder;
  CHECK(fails(Code::NotFound, folder.path + "/none", [&] { read_file(folder.path + "/none"); }));
  CHECK(fails(Code::FailedPrecondition, "folder", [&] { read_file(folder.path); }));
  write_file(folder.path + "/f", "");
  CHECK(fails(Code::FailedPrecondition, folder.path + "/f/g", [&] { OutputFile f(folder.path + "/f/g"); }));
  CHECK(fails(Code::ResourceExhausted, "free space", [] { fail_system(ENOSPC, "write", "/full/f"); }));
}

void a_table_of_many_blocks_keeps_its_entries() {
  std::mt19937 random(2);
  std::map<std::string, std::string> entries{{"", "header"}};
  while (entries.size() < 20000) {
    std::string key = "layer" + std::to_string(random() % 40) + "/";
    entries[key + random_bytes(random, 1 + random() % 12)] = random_bytes(random, random() % 80);
  }
  TableWriter writer;
  for (const auto& [key, value] : entries) writer.add(key, value);
  const std::string file = writer.finish();
  CHECK(file.size() > 3 * 262144);
  const auto back = read_table(file, "t");
  CHECK(back == std::vector<std::pair<std::string, std::string>>(entries.begin(), entries.end()));
}

void slices_are_parsed_and_named_in_order() {
  const ShapeAndSlice s = parse_shape_and_slice("4 3 1,2:-");
  CHECK(s.full == Shape({4, 3}) && s.slice.shape(s.full) == Shape({2, 3}));
  for (const char* bad : {"4 3", "4 3 0,2", "4 3 0,5:-", "4 3 -1,2:-", "4 3 0,2:-:-", "4 x -:-", "3 -:-", "4 3 5,0:-", "0,2"})
    CHECK(fails(Code::InvalidArgument, "shape_and_slices", [&] { parse_shape_and_slice(bad); }));
  std::string last;
  for (int64_t start : {0, 1, 63, 64, 8191, 8192, 1 << 20}) {
    const std::string key = slice_key("t", {{start}, {5}});
    CHECK(last < key);
    last = key;
  }
  CHECK(slice_key(std::string("a\0b\xff", 4), {{}, {}}) == std::string("\0a\0\xff" "b\xff\0\0\1\0", 10));
}

void a_bundle_gives_back_what_it_was_given() {
  const Folder folder;
  const std::string prefix = folder.path + "/deep/m";
  Tensor strings(DType::String, {3});
  strings.data<std::string>()[1] = "ring";
  strings.data<std::string>()[2] = std::string(300, '\0');
  const Tensor big = floats({300, 1000}, 0);
  {
    BundleWriter w(prefix);
    w.add("big", big);
    w.add("strings", strings);
    w.add("empty", Tensor(DType::Double, {0, 3}));
    for (int64_t at : {0, 2}) {
      w.add_slice("parts", {Shape{3, 4}, {{at, 0}, {at ? 1 : 2, Slice::kAll}}}, floats({at ? 1 : 2, 4}, static_cast<float>(4 * at)));
    }
    CHECK(fails(Code::InvalidArgument, "came twice", [&] { w.add("big", big); }));
    CHECK(!file_exists(bundle_index_path(prefix)));
    w.finish();
  }
  const BundleReader r(prefix);
  CHECK(std::memcmp(r.read("big").raw(), big.raw(), big.bytes()) == 0);
  const Tensor words = r.read("strings");
  for (int64_t i = 0; i < 3; ++i) CHECK(words.data<std::string>()[i] == strings.data<std::string>()[i]);
  CHECK(r.read("empty").shape() == Shape({0, 3}));
  const Tensor whole = r.read("parts"), expected = floats({3, 4}, 0);
  CHECK(whole.shape() == expected.shape() && std::memcmp(whole.raw(), expected.raw(), expected.bytes()) == 0);
  const Tensor corner = r.read_slice("parts", parse_shape_and_slice("3 4 1,2:2,1"));
  CHECK(corner.shape() == Shape({2, 1}) && corner.data<float>()[0] == 6 && corner.data<float>()[1] == 10);
  CHECK(fails(Code::NotFound, "Key none not found in checkpoint", [&] { r.read("none"); }));
  CHECK(fails(Code::NotFound, "no checkpoint is at", [&] { BundleReader(folder.path + "/none"); }));
  for (const std::string& file : matching_files(folder.path + "/deep/*")) ::unlink(file.c_str());
  remove_empty_folder(folder.path + "/deep");
}

void bundles_merge_by_renaming_and_join_slices() {
  const Folder folder;
  for (int64_t k : {0, 1}) {
    BundleWriter w(folder.path + "/p" + std::to_string(k));
    w.add("own" + std::to_string(k), floats({2}, static_cast<float>(k)));
    w.add_slice("rows", {Shape{2, 2}, {{k, 0}, {1, Slice::kAll}}}, floats({1, 2}, static_cast<float>(10 * k)));
    w.finish();
  }
  const std::string parts[] = {folder.path + "/p0", folder.path + "/p1"};
  CHECK(fails(Code::NotFound, "none", [&] { merge_bundles({parts[0], folder.path + "/none"}, folder.path + "/m", false); }));
  merge_bundles({parts[0], folder.path + "/none", parts[1]}, folder.path + "/m", true);
  CHECK(matching_files(folder.path + "/*").size() == 3);
  const BundleReader r(folder.path + "/m");
  CHECK(r.num_shards() == 2 && r.read("own1").data<float>()[1] == 2);
  const Tensor rows = r.read("rows");
  CHECK(rows.data<float>()[1] == 1 && rows.data<float>()[2] == 10);
}

// Whatever the bytes of an index or of a data file, reading them ends in a value or in an Error.
void damaged_bundles_end_in_an_error() {
  const Folder folder;
  const std::string prefix = folder.path + "/m";
  Tensor strings(DType::String, {2});
  strings.data<std::string>()[0] = "first";
  {
    BundleWriter w(prefix);
    w.add("a", floats({3, 5}, 0));
    w.add("s", strings);
    w.add_slice("p", {Shape{4}, {{0}, {2}}}, floats({2}, 0));
    w.add_slice("p", {Shape{4}, {{2}, {2}}}, floats({2}, 2));
    w.finish();
  }
  const std::string path = bundle_index_path(prefix), index = read_file(path), data = read_file(bundle_data_path(prefix, 0, 1));
  std::mt19937 random(3);
  const auto flip = [&](std::string& s) {
    for (uint32_t k = 1 + random() % 3; k > 0 && !s.empty(); --k) switch (random() % 4) {
        case 0: s[random() % s.size()] ^= static_cast<char>(1 << random() % 8); break;
        case 1: s.resize(random() % s.size()); break;
        case 2: s.insert(random() % s.size(), 1, static_cast<char>(random())); break;
        default: s[random() % s.size()] = static_cast<char>(random() % 2 ? 0xff : 0);
      }
  };
  int refused = 0, total = 0;
  // damaged anywhere: the checksums catch it. Its own block of exact size, so that a sanitizer sees a read past the end
  for (int i = 0; i < 20000; ++i, ++total) {
    std::string bytes = index;
    flip(bytes);
    const std::vector<char> exact(bytes.begin(), bytes.end());
    try {
      read_table({exact.data(), exact.size()}, path);
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > total * 9 / 10);  // the rest hit the footer's padding, or wrote what was there
  // damaged entries under right checksums: what a reader believes
  const auto entries = read_table(index, path);
  refused = total = 0;
  for (int i = 0; i < 4000; ++i, ++total) {
    TableWriter w;
    const size_t hit = random() % entries.size();
    for (size_t k = 0; k < entries.size(); ++k) {
      std::string value = entries[k].second;
      if (k == hit) flip(value);
      w.add(entries[k].first, value);
    }
    try {
      overwrite(path, w.finish());
      const BundleReader r(prefix);
      for (const char* name : {"a", "s", "p"}) r.read(name);
    } catch (const Error&) {
      ++refused;
    }
  }
  CHECK(refused > total / 2);
  overwrite(path, index);
  for (int i = 0; i < 1000; ++i) {
    std::string bytes = data;
    flip(bytes);
    overwrite(bundle_data_path(prefix, 0, 1), bytes);
    bool failed = false;
    try {
      const BundleReader r(prefix);
      for (const char* name : {"a", "s", "p"}) r.read(name);
    } catch (const Error& e) {
      failed = e.code == Code::DataLoss && std::string(e.what()).find("tensor '") != std::string::npos;
    }
    CHECK(failed || bytes.compare(0, data.size(), data) == 0);
  }
}

std::vector<FeatureColumn> columns() {
  std::vector<FeatureColumn> all(3);
  all[0].key = "f", all[1].key = "i", all[2].key = "s";
  all[1].dtype = DType::Int64;
  all[2].dtype = DType::String;
  return all;
}

// A map entry of Features: the key, and a Feature with one list (1 bytes, 2 floats, 3 int64s).
Bytes feature(const Bytes& key, uint32_t kind, const Bytes& list) {
  return bytes(1, bytes(1, key) + bytes(2, bytes(kind, list)));
}

Bytes example() {
  return bytes(1, feature("f", 2, bytes(1, raw<float>({1, 2})) + real(1, 3)) + feature("i", 3, packed(1, {-1, 300}) + number(1, 7)) +
                      feature("s", 1, bytes(1, "ring") + bytes(1, "")) + feature("other", 2, bytes(1, "odd")));
}

void features_of_examples_are_read_packed_or_not() {
  ExampleReader reader(columns());
  reader.add(example(), "");
  reader.add(bytes(1, feature("f", 2, "")) + bytes(1, feature("f", 2, real(1, 9))), "");  // the last of equal names counts
  const auto& c = reader.columns();
  CHECK(c[0].floats == std::vector<float>({1, 2, 3, 9}) && c[0].counts == std::vector<int64_t>({3, 1}));
  CHECK(c[1].ints == std::vector<int64_t>({-1, 300, 7}) && c[1].counts == std::vector<int64_t>({3, FeatureColumn::kAbsent}));
  CHECK(c[2].strings == std::vector<std::string>({"ring", ""}));
  CHECK(fails(Code::InvalidArgument, "Data types don't match", [&] { reader.add(bytes(1, feature("f", 3, number(1, 1))), ""); }));
}

void damaged_examples_end_in_an_error() {
  std::mt19937 random(4);
  int refused = 0;
  for (int i = 0; i < 50000; ++i) {
    Bytes b = example();
    for (uint32_t k = 1 + random() % 3; k > 0; --k) {
      if (random() % 4 == 0) b.resize(random() % b.size() + 1);
      b[random() % b.size()] = static_cast<char>(random());
    }
    const std::vector<char> exact(b.begin(), b.end());
    ExampleReader reader(columns());
    try {
      reader.add({exact.data(), exact.size()}, "");
    } catch (const Error& e) {
      refused += e.code == Code::InvalidArgument;
      CHECK(e.code == Code::InvalidArgument);
    }
  }
  CHECK(refused > 10000);
}

}  // namespace

int main() {
  TEST(crc32c_gives_the_published_values_by_instruction_and_by_table);
  TEST(a_file_is_there_wholly_or_not_at_all);
  TEST(errors_of_the_system_name_the_file);
  TEST(a_table_of_many_blocks_keeps_its_entries);
  TEST(slices_are_parsed_and_named_in_order);
  TEST(a_bundle_gives_back_what_it_was_given);
  TEST(bundles_merge_by_renaming_and_join_slices);
  TEST(damaged_bundles_end_in_an_error);
  TEST(features_of_examples_are_read_packed_or_not);
  TEST(damaged_examples_end_in_an_error);
  return failures != 0;
}
