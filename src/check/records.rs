//! Invariants that one query each tells: what it finds is broken.

/// Name of an invariant, and a query whose rows break it.
pub(super) const RECORDS: [(&str, &str); 19] = [
    (
        "versions",
        "SELECT 'district ' || district_id FROM district GROUP BY district_id \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "versions",
        "SELECT 'licence ' || licence_no FROM licence GROUP BY licence_no \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "versions",
        "SELECT 'institution ' || CAST(inst_id AS TEXT) FROM institution GROUP BY inst_id \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "versions",
        "SELECT 'account ' || MIN(account_id) FROM account GROUP BY inst_id, account_no \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "versions",
        "SELECT 'order ' || MIN(order_id) FROM contract GROUP BY inst_id, contract_no \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "versions",
        "SELECT 'statement day ' || CAST(day AS TEXT) || ' of institution ' || CAST(inst_id AS TEXT) \
                || ' account ' || CAST(account_no AS TEXT) \
         FROM statement_day GROUP BY inst_id, account_no, day \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "versions",
        "SELECT 'settlement ' || batch_no || ' of institution ' || CAST(inst_id AS TEXT) \
         FROM settlement GROUP BY inst_id, account_no, batch_no \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "versions",
        "SELECT 'freeze ' || document_no || ' of institution ' || CAST(inst_id AS TEXT) \
         FROM account_freeze GROUP BY inst_id, account_no, document_no \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "versions",
        "SELECT 'statement ' || number || ' of institution ' || CAST(inst_id AS TEXT) \
         FROM statement GROUP BY inst_id, account_no, family, number, first_day, last_day \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "versions",
        "SELECT 'dispute of day ' || CAST(day AS TEXT) || ' of institution ' || CAST(inst_id AS TEXT) \
         FROM statement_dispute GROUP BY inst_id, account_no, day, claimant \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "versions",
        "SELECT 'exemption from day ' || CAST(first_day AS TEXT) || ' of institution ' \
                || CAST(inst_id AS TEXT) \
         FROM statement_exemption GROUP BY inst_id, account_no, first_day, last_day \
         HAVING COUNT(*) <> MAX(version) OR MIN(version) <> 1",
    ),
    (
        "directory",
        "SELECT 'institution ' || i.institution_id FROM institution i WHERE NOT EXISTS \
         (SELECT 1 FROM institution_directory d \
          WHERE d.institution_id = i.institution_id AND d.inst_id = i.inst_id)",
    ),
    (
        "directory",
        "SELECT 'account ' || a.account_id FROM account a WHERE NOT EXISTS \
         (SELECT 1 FROM account_directory d WHERE d.account_id = a.account_id \
            AND d.inst_id = a.inst_id AND d.account_no = a.account_no)",
    ),
    (
        "directory",
        "SELECT 'order ' || k.order_id FROM contract k WHERE NOT EXISTS \
         (SELECT 1 FROM contract_directory d WHERE d.order_id = k.order_id \
            AND d.inst_id = k.inst_id AND d.contract_no = k.contract_no)",
    ),
    (
        "results",
        "SELECT 'policy of run ' || CAST(r.run_id AS TEXT) FROM run r WHERE NOT EXISTS \
           (SELECT 1 FROM policy_version p WHERE p.policy_no = r.policy_no)",
    ),
    (
        "results",
        "SELECT DISTINCT 'position of run ' || CAST(p.from_run AS TEXT) FROM position p \
         WHERE p.to_run <= p.from_run OR NOT EXISTS \
           (SELECT 1 FROM run r WHERE r.run_id = p.from_run AND r.policy_no = p.policy_no)",
    ),
    (
        "results",
        "SELECT DISTINCT 'finding of run ' || CAST(f.from_run AS TEXT) FROM finding f \
         WHERE f.to_run <= f.from_run OR NOT EXISTS \
           (SELECT 1 FROM run r WHERE r.run_id = f.from_run AND r.policy_no = f.policy_no)",
    ),
    (
        "results",
        "SELECT DISTINCT 'match of run ' || CAST(m.from_run AS TEXT) FROM match_line m \
         WHERE m.to_run <= m.from_run OR NOT EXISTS \
           (SELECT 1 FROM run r WHERE r.run_id = m.from_run AND r.policy_no = m.policy_no)",
    ),
    (
        "three-way proof",
        "SELECT 'account ' || a.account_id || ' in run ' || CAST(p.from_run AS TEXT) \
         FROM account_proof p \
         JOIN account_directory a ON a.inst_id = p.inst_id AND a.account_no = p.account_no \
         WHERE p.closing_fen + p.under_way_in_fen - p.under_way_out_fen \
            <> p.contract_cash_fen + p.unallocated_fen + p.unidentified_fen + p.difference_fen \
             + p.fee_fen + p.batch_refund_fen + p.unauthorised_fen + p.brought_forward_fen + p.gap_fen",
    ),
];
