// A policy file becomes settings: load (YAML to a tree with line numbers), validate (every problem at once,
// each with file, line, path and what to do), build (immutable settings with everything resolved). Blocking:
// it reads the file and what the file names (`file:` secrets), so it is called at start and at a reload only.
// Throws nothing but std::bad_alloc, for any input.
#pragma once

#include "config/settings.hpp"

#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gw::config {

// One mistake. It never holds a secret: neither a token nor what stands where a token or key should be is
// printed.
struct problem
{
    std::string file;
    int line = 0;     // from 1; 0: not at a line
    std::string path; // `upstreams.router.timeout.connect`; empty: the file as a whole
    std::string text; // what is wrong and what to do
};

// `policy.yaml:12: upstreams.router.kynd: unknown key; did you mean `kind`?`; what looks like a Hugging Face
// token becomes `hf_...`.
[[nodiscard]] std::string to_string(const problem& what);

// Looks a variable up; nullopt: unset.
using environment = std::function<std::optional<std::string>(std::string_view)>;

// A copy of the process's own environment as it is now.
[[nodiscard]] environment process_environment();

// Overwrites what the process was started with where it holds a secret: the values that these settings use as
// tokens or as the admin key, and every variable whose name says that it is one. /proc/PID/environ then shows
// none; a copy taken before still has them, for the next reload.
void hide_secrets(const settings& now);

// What flags say in place of the file: HOST:PORT each. Checked by the same rules (keyless listeners are
// loopback).
struct overrides
{
    std::optional<std::string> listen;
    std::optional<std::string> admin;
};

using loaded = std::expected<std::shared_ptr<const settings>, std::vector<problem>>;

// Problems come in the order of their lines, without repeats. Relative paths in the file are relative to its
// directory.
[[nodiscard]] loaded load_file(const std::string& path, const environment& env, const overrides& flags = {});

// `file_name` names the file in problems and is what relative paths are resolved against.
[[nodiscard]] loaded load_text(
    std::string_view yaml, std::string_view file_name, const environment& env, const overrides& flags = {}
);

// No file at all: HF_TOKEN alone gives every model the serverless way. Fails when HF_TOKEN cannot be a token
// or a flag is wrong.
[[nodiscard]] loaded load_default(const environment& env, const overrides& flags = {});

// Every key that a policy file can hold, as paths with `*` for a name: `upstreams.*.timeout.connect`. Sorted.
[[nodiscard]] std::vector<std::string> known_keys();

} // namespace gw::config
