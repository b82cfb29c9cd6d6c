// What the process tests share: a supervisor whose workers are scripted_worker.py, its log, and looks at
// processes.
#pragma once

#include "config/settings.hpp"
#include "workers/supervisor.hpp"

#include <gtest/gtest.h>

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gw::workers {

inline constexpr const char* own_executable = "/proc/self/exe";

// Looks again and again, for at most 30 s.
[[nodiscard]] bool eventually(const std::function<bool()>& happened);

// A folder that goes with it.
class temporary_folder
{
public:
    temporary_folder();
    ~temporary_folder();
    temporary_folder(const temporary_folder&) = delete;
    temporary_folder& operator=(const temporary_folder&) = delete;
    [[nodiscard]] std::string file(std::string_view name) const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

struct logged_line
{
    std::chrono::steady_clock::time_point at;
    severity level = severity::info;
    std::string text;
    std::vector<std::pair<std::string, std::string>> fields;
    [[nodiscard]] std::string field(std::string_view name) const;
};

class recorder
{
public:
    [[nodiscard]] log_fn writer();
    [[nodiscard]] std::vector<logged_line> all() const;
    [[nodiscard]] bool has(std::string_view part_of_text) const;
    [[nodiscard]] std::string story() const; // all of it, for a failed test to show

private:
    const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
    mutable std::mutex lock_;
    std::vector<logged_line> lines_;
};

// `python3 scripted_worker.py --port $port --model $model --mark FILE` and more flags.
[[nodiscard]] config::upstream
scripted(const std::string& mark, std::vector<std::string> flags = {}, std::string name = "here");

// ensure(), waited for.
[[nodiscard]] result<ready_worker>
ensured(supervisor& workers, const config::upstream& to, std::string_view model = "org/m");

// The one whose upstream this is; none: an empty one.
[[nodiscard]] worker_status status_of(const supervisor& workers, std::string_view upstream = "here");

// Body of a GET answered 200; nothing: refused, cut or another status.
[[nodiscard]] std::optional<std::string> get(std::uint16_t port, std::string_view path);

[[nodiscard]] std::string contents(const std::string& path);
// The rest of each line that begins with `word`.
[[nodiscard]] std::vector<std::string> marked(const std::string& path, std::string_view word);
[[nodiscard]] bool is_gone(pid_t pid); // a zombie is gone, too
[[nodiscard]] pid_t parent_of(pid_t pid);
// Parts that end in NUL, as in /proc/PID/environ.
[[nodiscard]] std::vector<std::string> split_at_nul(const std::string& text);

class process_test : public testing::Test
{
protected:
    temporary_folder folder;
    std::string mark = folder.file("mark");
    recorder log;
    supervisor workers{log.writer(), own_executable};
};

} // namespace gw::workers
