// A core's thread for tests: completions of side threads wait in a queue until the test runs them.
#pragma once

#include "payload/replay.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace gw::payloads::testing {

class manual_queue
{
public:
    [[nodiscard]] post_fn poster()
    {
        return [this](std::move_only_function<void()> work) {
            const std::lock_guard hold(lock_);
            waiting_.push_back(std::move(work));
        };
    }

    // Runs what is waiting; true if there was anything.
    bool run_some()
    {
        std::deque<std::move_only_function<void()>> now;
        {
            const std::lock_guard hold(lock_);
            now.swap(waiting_);
        }
        for (auto& each : now) {
            each();
        }
        return !now.empty();
    }

    // Runs completions until the condition holds; false when it does not within ten seconds.
    bool run_until(const std::function<bool()>& reached)
    {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (!reached()) {
            if (!run_some()) {
                if (std::chrono::steady_clock::now() > deadline) {
                    return false;
                }
                std::this_thread::yield();
            }
        }
        return true;
    }

private:
    std::mutex lock_;
    std::deque<std::move_only_function<void()>> waiting_;
};

// A folder of its own that goes with the test.
class scratch_dir
{
public:
    scratch_dir()
    {
        std::string name = (std::filesystem::temp_directory_path() / "fourways-test-XXXXXX").string();
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        path_ = name;
    }
    ~scratch_dir()
    {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    scratch_dir(const scratch_dir&) = delete;
    scratch_dir& operator=(const scratch_dir&) = delete;

    [[nodiscard]] std::string path() const { return path_.string(); }
    [[nodiscard]] bool empty() const { return std::filesystem::is_empty(path_); }

private:
    std::filesystem::path path_;
};

// Takes everything until the end; false when it fails or nothing comes.
inline bool read_all(manual_queue& queue, replay::reader& from, std::string& into)
{
    using state = replay::reader::state;
    while (true) {
        while (const auto part = from.take()) {
            into.append(*part);
        }
        if (from.now() == state::end) {
            return true;
        }
        bool called = false;
        from.when_ready([&called] { called = true; });
        const bool came = queue.run_until([&called] { return called; });
        from.when_ready({});
        if (!came || from.now() == state::failed) {
            return false;
        }
    }
}

} // namespace gw::payloads::testing
