//! The unified social credit code and its check digit (GB 32100-2015; `domain.md` §1.10).
//!
//! A wrong code is a defect to show, never a reason to reject a row: registries carry typing errors,
//! and an institution with a wrong code still holds families' money.

const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
const WEIGHTS: [u32; 17] = [
    1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28,
];

/// Why a text is not a valid unified social credit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsccError {
    #[error("a unified social credit code has 18 characters")]
    Length,
    #[error("character {0} is not in the code's alphabet (no I, O, S, V, Z)")]
    Alphabet(usize),
    #[error("the check character should be {0}")]
    CheckDigit(char),
}

/// The check character of the first 17 characters: `(31 − Σ cᵢwᵢ mod 31) mod 31`. The outer mod is
/// part of the rule: remainder 0 gives character 0.
pub fn check_char(first17: &[u8]) -> Result<char, UsccError> {
    if first17.len() != 17 {
        return Err(UsccError::Length);
    }
    let mut sum = 0_u32;
    for (i, byte) in first17.iter().enumerate() {
        let value = ALPHABET
            .iter()
            .position(|c| c == byte)
            .ok_or(UsccError::Alphabet(i + 1))?;
        sum += u32::try_from(value).unwrap_or(0) * WEIGHTS[i];
    }
    Ok(char::from(ALPHABET[((31 - sum % 31) % 31) as usize]))
}

/// Checks length, alphabet and check character.
pub fn validate(code: &str) -> Result<(), UsccError> {
    let bytes = code.as_bytes();
    if bytes.len() != 18 {
        return Err(UsccError::Length);
    }
    let expected = check_char(&bytes[..17])?;
    if !ALPHABET.contains(&bytes[17]) {
        return Err(UsccError::Alphabet(18));
    }
    if char::from(bytes[17]) == expected {
        Ok(())
    } else {
        Err(UsccError::CheckDigit(expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_domain_1_10() {
        for (first17, check) in [
            ("91350100M000100Y4", '3'),
            ("52410122MJ0000001", 'B'),
            ("52410122MJ0100021", '0'), // remainder 0
            ("91410105MA0000002", '9'),
            ("92410182MA0000003", 'R'),
            ("12410100MB0000005", 'H'),
        ] {
            assert_eq!(check_char(first17.as_bytes()), Ok(check), "{first17}");
            assert_eq!(validate(&format!("{first17}{check}")), Ok(()));
        }
        assert_eq!(
            validate("91350100M000100Y44"),
            Err(UsccError::CheckDigit('3'))
        );
        assert_eq!(validate("9135010OM000100Y43"), Err(UsccError::Alphabet(8)));
        assert_eq!(validate("91350100"), Err(UsccError::Length));
    }
}
