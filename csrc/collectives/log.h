// What a rank says besides its errors: warnings, and how it ends. On stderr, and in a file of its own where one is named
// (RINGFLOW_LOG_DIR), because mpirun mixes the ranks' lines, and some launchers drop them.
//
// Threads: any.
#pragma once

#include <string>

namespace rf {

// One line, in one write, so that the lines of several ranks stay whole.
void say(const std::string& line);
// For the file alone: a traceback, which Python prints itself.
void note(const std::string& text);
// From now on everything goes to this file too, each line with the time; "": to none. What it holds stays. Throws
// InvalidArgument where it cannot be written.
void log_to(const std::string& path);

}  // namespace rf
