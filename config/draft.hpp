// Between a tree and settings: every section read and checked, references still by name. validate() makes one
// from a tree; build() turns one without problems into settings.
#pragma once

#include "config/reader.hpp"
#include "config/settings.hpp"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace gw::config {

struct upstream_draft
{
    upstream value;
    std::vector<std::string> tokens; // names in draft::tokens
};

struct route_draft
{
    std::string upstream; // a name in draft::upstreams
    std::string model;
    std::uint32_t weight = 1;
    std::uint32_t rank = 0;
    std::string provider;
};

struct model_draft
{
    model_entry value;
    std::vector<route_draft> route;
};

struct draft
{
    std::vector<listener> listen;
    std::optional<address> admin;
    std::string admin_key_digest;
    std::vector<token> tokens;
    std::vector<upstream_draft> upstreams;
    std::vector<model_draft> models;
    std::vector<client> clients;
    bool open = true;
    config::limits limits;
    config::spool spool;
    config::hub hub;
    std::string hub_token; // a name in draft::tokens
    std::vector<std::string> notes;
};

// A secret as a policy may say it: `"${NAME}"`, `"${NAME:-}"` (may be empty) or `"file:/path"`.
struct secret_source
{
    secret value;
    std::string file; // absolute; empty: a variable
};
[[nodiscard]] std::optional<secret_source> read_secret(const field& from);

// One section each, in this order, since later ones check their references against earlier ones. A name whose
// own section is wrong still counts as known, so that one mistake is told once.
void read_tokens(const field& from, draft& into);
void read_upstreams(const field& from, draft& into);
void read_models(const field& from, draft& into);
void read_clients(const field& from, draft& into);
void read_limits(const field& from, draft& into);
void read_spool(const field& from, draft& into);
void read_hub(const field& from, draft& into);
void read_listen(const field& from, draft& into);
void read_admin(const field& from, draft& into);

// `request:` of the engine `custom`.
[[nodiscard]] std::optional<std::vector<template_part>> read_template(const field& from);

[[nodiscard]] draft validate(const field& root, const overrides& flags);

// REQUIRES: validate() reported nothing.
[[nodiscard]] std::shared_ptr<const settings> build(draft from, std::string file);

} // namespace gw::config
